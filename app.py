"""The studio in the browser: `streamlit run app.py` (on the folder `demo`), or `streamlit run app.py -- CORPUS`."""

from studio.app import run

run()
