"""The typed client of the service, synchronous and asynchronous; see docs/client.md."""

from patina.client._async.client import AsyncClient as AsyncClient
from patina.client._async.datasets import AsyncDataset as AsyncDataset
from patina.client._async.jobs import AsyncJob as AsyncJob
from patina.client._async.models import AsyncModel as AsyncModel
from patina.client._async.webhooks import AsyncWebhook as AsyncWebhook
from patina.client._sync.client import Client as Client
from patina.client._sync.datasets import Dataset as Dataset
from patina.client._sync.jobs import Job as Job
from patina.client._sync.models import Model as Model
from patina.client._sync.webhooks import Webhook as Webhook
