"""The service's calls, typed, for Python; see docs/client.md."""

from patina.client.client import AsyncClient as AsyncClient
from patina.client.client import Client as Client
