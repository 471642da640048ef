"""The files of an artifact: graphs, golden run, contract, model card."""
