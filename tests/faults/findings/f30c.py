# see f30: with strace's delays so that the window is wide. argv: port of the one server, port of the other
