"""Reading people's files: images, texts, tables, named sets; splits and groups."""
