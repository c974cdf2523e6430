"""The page: serves the files of the room `page`."""
