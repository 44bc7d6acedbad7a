"""The web page and its jobs. Of the engine it knows the torch-free contract only; `app.py` hands it the rest."""
