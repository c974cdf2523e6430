"""The page: serves the files of the folder `page`."""
