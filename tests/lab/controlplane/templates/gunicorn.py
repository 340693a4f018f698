# One process with threads: the lab's API load is light, memory is not.
bind = '$machine:$port'
wsgi_app = '$application'
workers = 1
threads = 8
timeout = 600
# A request never waits for a connection that another thread keeps.
keepalive = 0
