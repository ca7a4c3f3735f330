"""`fanfold page`: runs in a browser, as they go, from what stands in their folders."""
