"""Who may call: tokens with scopes, how often, and whose dataset it is. Tokens are made by `patina token`."""
