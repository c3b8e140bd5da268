"""Small pieces of the page that Streamlit does not have."""
