"""What conda's package names mean where there is only pip."""

from __future__ import annotations

PYPI_NAMES = {
    "arrow-cpp": "pyarrow",
    "dask-core": "dask",
    "faiss": "faiss-cpu",
    "intel-extension-for-pytorch": "intel-extension-for-pytorch",
    "jupyter_client": "jupyter-client",
    "libopencv": "opencv-python-headless",
    "matplotlib-base": "matplotlib",
    "mlflow-skinny": "mlflow-skinny",
    "msgpack-python": "msgpack",
    "opencv": "opencv-python-headless",
    "psycopg2": "psycopg2-binary",
    "py-lightgbm": "lightgbm",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "py-xgboost-gpu": "xgboost",
    "pyarrow-core": "pyarrow",
    "pyqt": "PyQt5",
    "pytables": "tables",
    "python-graphviz": "graphviz",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "ray-core": "ray",
    "ray-default": "ray",
    "seaborn-base": "seaborn",
    "tensorflow-base": "tensorflow",
    "tensorflow-cpu": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "xgboost-gpu": "xgboost",
}
"""Python packages that have another name on PyPI. All others are looked for under the name that conda knows."""

IN_WHEELS = (
    *("_libgcc_mutex", "_openmp_mutex", "blas", "libblas", "libcblas", "liblapack", "libopenblas", "openblas"),
    *("mkl", "mkl-service", "mkl_fft", "mkl_random", "intel-openmp", "nomkl", "llvm-openmp", "libgomp"),
    *("libgcc-ng", "libgcc", "libstdcxx-ng", "libstdcxx", "libgfortran-ng", "libgfortran*", "ld_impl_linux-64"),
    *("cudatoolkit", "cudnn", "nccl", "pytorch-cuda", "pytorch-mutex", "cuda-version", "cuda-runtime"),
    *("cuda-cudart", "cuda-libraries", "cuda-nvrtc", "cuda-nvtx", "libcublas", "libcufft", "libcurand", "libcusolver"),
    *("libcusparse", "cpuonly", "ffmpeg-libs", "openssl", "ca-certificates", "python_abi", "zlib", "libzlib", "xz"),
    *("bzip2", "libffi", "ncurses", "readline", "sqlite", "libsqlite", "tk", "tzdata", "zstd", "libuuid", "libnsl"),
    *("libsndfile", "hdf5", "libpng", "jpeg", "libjpeg-turbo", "libtiff", "freetype", "lz4-c", "yaml", "icu"),
)
"""Libraries that wheels bring along or that belong to Python itself (patterns)."""

PROGRAMS = {
    "binutils": "ld",
    "c-compiler": "cc",
    "compilers": "cc",
    "cuda": "nvcc",
    "cuda-compiler": "nvcc",
    "cuda-nvcc": "nvcc",
    "cuda-toolkit": "nvcc",
    "cudatoolkit-dev": "nvcc",
    "curl": "curl",
    "cxx-compiler": "c++",
    "ffmpeg": "ffmpeg",
    "gcc": "gcc",
    "gcc_linux-64": "gcc",
    "git": "git",
    "git-lfs": "git-lfs",
    "graphviz": "dot",
    "gxx": "g++",
    "gxx_linux-64": "g++",
    "make": "make",
    "mpich": "mpirun",
    "nodejs": "node",
    "openjdk": "java",
    "openmpi": "mpirun",
    "openmpi-mpicc": "mpicc",
    "openssh": "ssh",
    "pandoc": "pandoc",
    "poppler": "pdftotext",
    "r-base": "Rscript",
    "tesseract": "tesseract",
    "unzip": "unzip",
    "wget": "wget",
    "zip": "zip",
}
"""Packages that are programs: this machine's own serves, where it has one."""

NOT_PYTHON = ("r-*", "bioconductor-*", "perl", "perl-*", "lib*-dev", "gdal", "libgdal", "geos", "proj", "boost-cpp")
"""Packages without a wheel (patterns)."""
