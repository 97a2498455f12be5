"""One run over history: vectorised or event by event, its metrics and its report.

Both engines give a `Result`; what is counted, drawn or compared afterwards knows nothing else.
"""
