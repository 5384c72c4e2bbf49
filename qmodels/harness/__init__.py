"""What makes pytest measure: options, fixtures, the record of each benchmark, and the verdict."""
