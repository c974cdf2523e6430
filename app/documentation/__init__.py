"""The OpenAPI document and its page; every file of the page is served from here, so it works offline."""
