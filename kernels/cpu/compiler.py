"""Kernels that call kernels: each is optimized and becomes machine code once, in its caller.

Numba compiles a function that a kernel calls as if Python called it too: wrappers for Python and
C, all optimizations, machine code, and a place among the symbols of the process. Then it links the
function's LLVM code into the caller and does all of that again. Two things go wrong with it:
* time: most of a cold start is spent on code that nobody runs;
* bits: a function that is not inlined exists in several objects under one name, and of these the
  linker keeps the one that was loaded first. Optimized another number of times, a sum of products
  may have been contracted in another way: then results depend on what the process did before, and
  the process that compiles has other bits than those that load its code from the disk.

A `Kernel` is two dispatchers of Numba: one for Python; and one for kernels that call it, whose
functions are lowered to LLVM code and no further. In machine code whatever a kernel calls is a
private copy of its own, so nothing outside it can change what it does.
"""

import contextlib
import gc

from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering, NopythonRewrites
from numba.core.untyped_passes import InlineClosureLikes

# What is not said here a callee would inherit from whichever caller it is first compiled for.
OPTIONS = {
    "nopython": True,
    "nogil": True,
    "error_model": "numpy",  # division by 0 gives infinity
    "fastmath": False,
    "forceinline": False,
    "no_cpython_wrapper": False,
    "no_cfunc_wrapper": True,
}


# Passes of Numba for what no kernel has: closures and comprehensions, expressions of whole arrays.
UNUSED = (InlineClosureLikes, NopythonRewrites)


# ---- LLVM code ----
class _KernelLibrary(JITCodeLibrary):
    """The code of a kernel and, private, of all that it calls."""

    def _optimize_final_module(self):
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage.name == "linkonce_odr":
                function.linkage = "internal"
        super()._optimize_final_module()


class _CalleeLibrary(JITCodeLibrary):
    """LLVM code to link into callers: neither optimized as a whole nor turned into machine code."""

    def finalize(self):
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerKernel(NativeLowering):
    _name = "lower_kernel"

    def run_pass(self, state):
        state.library = _KernelLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().run_pass(state)


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerCallee(NativeLowering):
    """Instead of an address, what callers know the function by is an object made for it."""

    _name = "lower_callee"

    def run_pass(self, state):
        state.library = _CalleeLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        key, result = object(), state["cr"]
        state.targetctx.insert_user_function(key, result.fndesc, [state.library])
        state["cr"] = result._replace(cfunc=key)
        return True


def _pipeline(lowering):
    """Numba's passes that kernels need, with `lowering` in place of its own."""

    class Compiler(CompilerBase):
        def define_pipelines(self):
            manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
            manager.passes = [
                (lowering if step is NativeLowering else step, name)
                for step, name in manager.passes
                if step not in UNUSED
            ]
            manager.finalize()
            return [manager]

    return Compiler


_KERNEL, _CALLEE = _pipeline(_LowerKernel), _pipeline(_LowerCallee)


# ---- dispatchers ----
class Callee(CPUDispatcher):
    """What kernels call when they call a kernel. Python cannot: there is no machine code."""

    def add_overload(self, cres):
        """Keep the compiled code under its types; Python gets nothing to call."""
        self.overloads[tuple(cres.signature.args)] = cres

    def __call__(self, *args):
        """Raises TypeError."""
        raise TypeError(f"{self.py_func.__name__}: called from Python, expected a kernel")


class Kernel(CPUDispatcher):
    """A function for Python to call, and for kernels: compiled for each at first use.

    Numba's dispatcher, whose methods that callers are compiled with are those of its `callee`.
    """

    def __init__(self, py_func, locals=None, targetoptions=None):
        super().__init__(py_func, locals or {}, targetoptions, pipeline_class=_KERNEL)
        bare = {**self.targetoptions, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        self.callee = Callee(py_func, self.locals, bare, pipeline_class=_CALLEE)
        self._addresses = {}  # by types: to ask Numba for one takes a tenth of a millisecond

    def compile(self, sig):
        """Compile for these types, as Numba does, but without looking for garbage."""
        with _no_collection():
            return super().compile(sig)

    def address(self, *args):
        """Where the machine code for arguments of these types begins: a C function."""
        if args not in self._addresses:
            self._compilation_chain_init_hook()
            self.compile(args)
            code = self.overloads[args]
            name = code.fndesc.llvm_cfunc_wrapper_name
            self._addresses[args] = code.library.get_pointer_to_function(name)
        return self._addresses[args]

    # ---- for callers ----
    def get_call_template(self, args, kws):
        """A literal argument has no code of its own: it is one of its type."""
        return self.callee.get_call_template([types.unliteral(a) for a in args], kws)

    def get_overload(self, sig):
        """What a caller's code calls: the callee's, compiled for it."""
        return self.callee.get_overload(sig)


@contextlib.contextmanager
def _no_collection():
    """Compiling makes millions of objects that stay: to look for garbage among them is in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
