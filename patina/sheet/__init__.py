"""Contact sheets: one picture that shows what a model learned."""
