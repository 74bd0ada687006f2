"""One source of formulas for numpy arrays and torch tensors.

A formula that asks :func:`namespace` for its functions (``exp``, ``where``, ...) works on both: numpy where no gradient
is needed and torch must not be imported, torch where a loss is to be differentiated through it.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np

#: A numpy array or a torch tensor; a function that takes one kind returns the same kind.
AnyArray: TypeAlias = Any


def namespace(*arrays: Any) -> Any:
    """Find the module whose functions work on these arrays.

    Parameters
    ----------
    *arrays : numpy.ndarray, torch.Tensor or float
        What a formula is about to be applied to.

    Returns
    -------
    module
        ``torch`` if one of them is a tensor (then torch is already imported), otherwise ``numpy``.
    """
    torch_module = sys.modules.get("torch")
    if torch_module is not None:
        for array in arrays:  # a generator would take most of the time of a single row
            if isinstance(array, torch_module.Tensor):
                return torch_module
    return np


def like(values: Any, array: Any) -> Any:
    """Give constants the type of an array.

    Parameters
    ----------
    values : array_like
        Constants.
    array : numpy.ndarray or torch.Tensor
        What they are combined with.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        The constants, as a tensor of the same type on the same device if ``array`` is one. A tensor stays as it is.
    """
    xp = namespace(values, array)
    if xp is np:
        return np.asarray(values, dtype=float)
    if isinstance(values, xp.Tensor):
        return values
    return xp.as_tensor(np.asarray(values), dtype=array.dtype, device=array.device)


def alike(*arrays: Any) -> tuple[Any, ...]:
    """Give arrays one kind.

    Parameters
    ----------
    *arrays : numpy.ndarray or torch.Tensor
        What a formula is about to be applied to.

    Returns
    -------
    tuple of numpy.ndarray or torch.Tensor
        All tensors, of the type and on the device of the first one, if one of them is a tensor; otherwise as they are.
    """
    xp = namespace(*arrays)
    if xp is np:
        return arrays
    first = next(array for array in arrays if isinstance(array, xp.Tensor))
    return tuple(
        array.to(first) if isinstance(array, xp.Tensor) else xp.as_tensor(array, dtype=first.dtype, device=first.device)
        for array in arrays
    )
