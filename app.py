"""The studio in the browser: `streamlit run app.py` (on the folder `demo`), or `streamlit run app.py -- CORPUS`."""

from streamlit.starlette import App

from studio.door import application as door

app = App(door.SCRIPT, middleware=door.middleware(), routes=door.routes(), on_script_error=door.told)
