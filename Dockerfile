# opensim_nem2e with all extras. Build: docker build -t opensim-nem2e .
# Run in the folder of your files: docker run --rm -u "$(id -u):$(id -g)" -v "$PWD:/data" opensim-nem2e refine ...
FROM python:3.11-slim

# OpenSim's libraries.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgfortran5 libgomp1 libopenblas0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE CITATION.cff ./
COPY opensim_nem2e opensim_nem2e
COPY setups setups
RUN pip install --no-cache-dir --constraint constraints.txt ".[all]" \
        --extra-index-url https://download.pytorch.org/whl/cpu \
    && rm -rf /source

ENV MPLBACKEND=Agg HOME=/tmp
WORKDIR /data
ENTRYPOINT ["opensim-nem2e"]
CMD ["--help"]
