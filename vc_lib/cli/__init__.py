"""What the commands of `vc` do, one function each; `__main__` reads their arguments.

terminal    progress and messages
conversion  convert, anonymize
live        live
voices      train, evaluate
page        app
listen      the page to listen that they leave

Each imports the library when it runs, so that `vc --help` is instant.
"""
