"""Archives: all results of a job as zip, tar or WebDataset."""
