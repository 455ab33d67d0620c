"""What Streamlit serves for `winnow studio`.

In a folder of its own: beside a folder called `pages` Streamlit would run the files in that as scripts. The settings
and the theme lie here too, as Streamlit looks for them beside the script.
"""

from streamlit.starlette import App

from studio.door import application as door

app = App(door.SCRIPT, middleware=door.middleware(), routes=door.routes(), on_script_error=door.told)
