"""Several instances of one link: who ships what, and what becomes of it when one of them is gone."""
