"""Text without a world: corpora, their tokens, windows of them, and a world model that reads them."""
