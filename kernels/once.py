"""Kernels that call kernels: each is optimized and turned into machine code once, in its caller.

Numba compiles a function that a kernel calls as if Python called it too: wrappers for Python and
C, all optimizations, machine code, and a place among the symbols of the process. Then it links the
function's LLVM code into the caller and does all of that again. Two things go wrong with it:
* time: most of a cold start is spent on code that nobody runs;
* bits: a function that is not inlined exists twice under one name, and the copy that was loaded
  first is run by all. Optimized once or twice, a sum of products may be contracted in two ways.
  So the process that compiles got other bits than the ones that load its code.

A `Kernel` is two dispatchers: for Python, Numba's own; for kernels, one whose functions are
lowered to LLVM code and no further. In the machine code of a kernel, whatever it calls is its own.
"""

import contextlib
import gc

from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder, _LowerResult
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering


class _Whole(JITCodeLibrary):
    """The code of a kernel that Python calls, and of all that it calls."""

    def _optimize_final_module(self):
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage.name == "linkonce_odr":
                function.linkage = "internal"
        super()._optimize_final_module()


class _Part(JITCodeLibrary):
    """LLVM code that is only there to be linked into callers."""

    def finalize(self):
        for library in dict.fromkeys(self._linking_libraries):
            if hasattr(library, "_reload_init"):  # Numba 0.63 on
                self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerWhole(NativeLowering):
    _name = "lower_whole"

    def run_pass(self, state):
        state.library = _Whole(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().run_pass(state)


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerPart(NativeLowering):
    _name = "lower_part"

    def run_pass(self, state):
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        result, key = state["cr"], object()
        state.targetctx.insert_user_function(key, result.fndesc, [state.library])
        state["cr"] = _LowerResult(result.fndesc, result.call_helper, cfunc=key, env=result.env)
        return True


def _compiler(lowering):
    class Compiler(CompilerBase):
        def define_pipelines(self):
            manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
            manager.passes = [
                (lowering if kind is NativeLowering else kind, why) for kind, why in manager.passes
            ]
            manager.finalize()
            return [manager]

    return Compiler


class _Parts(CPUDispatcher):
    """What kernels call; Python cannot."""

    def add_overload(self, cres):
        self.overloads[tuple(cres.signature.args)] = cres

    def __call__(self, *args):
        raise TypeError("called by kernels only")


@contextlib.contextmanager
def _no_collection():
    """Compiling makes millions of objects that stay: collecting would visit them in vain."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


class Kernel(CPUDispatcher):
    def compile(self, sig):
        with _no_collection():
            return super().compile(sig)

    def __init__(self, py_func, locals=None, targetoptions=None, **more):
        more.setdefault("pipeline_class", _compiler(_LowerWhole))
        locals = locals or {}  # Numba before 0.61.1 knows no None here
        super().__init__(py_func, locals, targetoptions, **more)
        self.options = {**targetoptions, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        self.part = _Parts(py_func, locals, self.options, pipeline_class=_compiler(_LowerPart))

    def get_call_template(self, args, kws):
        return self.part.get_call_template([types.unliteral(a) for a in args], kws)

    def get_overload(self, sig):
        return self.part.get_overload(sig)

    @property
    def nopython_signatures(self):
        return self.part.nopython_signatures

    def address(self, *args):
        """Where the machine code for these types begins, for `fused_addresses.call`."""
        cres = self.get_compiled(tuple(args))
        return cres.library.get_pointer_to_function(cres.fndesc.llvm_cfunc_wrapper_name)

    def get_compiled(self, args):
        self._compilation_chain_init_hook()
        self.compile(args)
        return self.overloads[args]
