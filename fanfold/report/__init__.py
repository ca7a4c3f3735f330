"""`fanfold report`: a run's history as one page, a picture and tables."""
