"""What Streamlit runs for `winnow studio`.

In a folder of its own: beside a folder called `pages` Streamlit would run the files in that as scripts. The settings
and the theme lie here too, as Streamlit looks for them beside the script.
"""

from studio.app import run

run()
