"""What changes structures: data, surgery on models, backends, and structural models. It knows no feature."""
