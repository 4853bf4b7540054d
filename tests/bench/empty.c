/* A library of nothing: what it costs to preload any library at all. */
