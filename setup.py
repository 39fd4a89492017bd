"""The distribution: what is installed, what it needs, and the commands it brings.

Dependencies have lower bounds only. `tests/oldest.txt` has them as exact releases, the commands that install
all of them together on the oldest Python and run the tests there, and what was run so far;
`tests/test_packaging.py` keeps the list equal to what the code imports, and to that file.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

PACKAGES = (
    "agglomeration",
    "commands",
    "configs",
    "evaluation",
    "ffn",
    "inference",
    "jobs",
    "proofreading",
    "volumes",
)

REQUIRES = [
    "absl-py>=2.1",
    "alembic>=1.13",
    "cloud-files>=5.0",
    "cloud-volume>=12.0",
    "connected-components-3d>=3.20",
    "cryptography>=42.0",
    "dask>=2024.8",
    "distributed>=2024.8",
    "edt>=3.0",
    "fastapi>=0.115.3",
    "fastremap>=1.15",
    "h5py>=3.11",
    "jinja2>=3.1",
    "keras>=3.10",
    "markupsafe>=2.1",
    "matplotlib>=3.9",
    "neuroglancer>=2.41.2",
    "numba>=0.61",
    "numpy>=2.0",
    "pillow>=10.3",
    # The generated code in configs/proto refuses a runtime older than the compiler that wrote it.
    "protobuf>=6.30",
    "pydantic>=2.8",
    "scikit-image>=0.24",
    "scikit-learn>=1.5",
    "scipy>=1.13",
    "sqlalchemy>=2.0.30",
    "starlette>=0.40",
    "tensorflow>=2.20",
    "tensorstore>=0.1.71",
    "tifffile>=2024.8.10",
    "tqdm>=4.66",
    "uvicorn>=0.30",
]

EXTRAS = {
    "gpu": ["tensorflow[and-cuda]>=2.20"],
    "jax": ["jax>=0.5"],
    "kubernetes": ["dask-kubernetes>=2024.8"],
    "parquet": ["pyarrow>=18.0"],
    # 3.2.0 asks for a release of its binary part that was never published.
    "postgresql": ["psycopg[binary]>=3.2.1"],
    # Under the GPL and the LGPL, and therefore by choice; see docs/decisions/0018-skeletons-and-meshes.md.
    "meshes": ["zmesh>=1.9"],
    "skeletons": ["kimimaro>=5.0"],
    "slurm": ["dask-jobqueue>=0.9"],
    "test": [
        "grpcio-tools>=1.80",
        "httpx>=0.27",
        "hypothesis>=6.100",
        "jax>=0.5",
        "kimimaro>=5.0",
        "mypy>=1.14",
        "packaging>=23.2",
        "playwright>=1.48",
        "psutil>=6.0",
        "psycopg[binary]>=3.2.1",
        "pyarrow>=18.0",
        "pytest>=8.0",
        "pytest-xdist>=3.8",
        "ruff>=0.9",
        "setuptools>=69",
        "wheel>=0.43",
        "zmesh>=1.9",
    ],
}

setup(
    name="ffn-reconstruction",
    version="0.1.0",
    description="From raw electron microscopy volumes to neurons, with flood-filling networks",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    # Naming the root makes an editable install one path entry: a package added later is found without
    # installing again.
    package_dir={"": "."},
    packages=find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")]),
    package_data={
        "": ["py.typed"],
        "configs": ["*.textproto"],
        "configs.proto": ["*.proto", "*.pyi"],
        "agglomeration": ["calibrations/*.json"],
        "evaluation": ["templates/*.html"],
        "ffn": ["networks/*.ffn.h5"],
        "proofreading.pictures": ["static/*"],
        "proofreading.server": ["viewer/*.js", "static/*"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "evaluate=commands.evaluate:run",
            "ffn_demo=commands.demo:run",
            "import_checkpoint=commands.import_checkpoint:run",
            "proofread=commands.proofread:run",
            "run_agglomeration=commands.run_agglomeration:run",
            "run_inference=commands.run_inference:run",
            "train_ffn=commands.train_ffn:run",
        ]
    },
)
