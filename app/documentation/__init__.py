"""The page that shows the OpenAPI document; everything that it needs comes from here, so that it works offline."""
