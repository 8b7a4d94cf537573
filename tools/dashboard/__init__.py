"""The Grafana dashboard of the chart: ``rows`` says what it shows, ``build`` makes the JSON."""
