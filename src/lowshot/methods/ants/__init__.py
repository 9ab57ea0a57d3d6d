"""Atlas labels carried to a scan by ANTs: what learned methods have to beat."""
