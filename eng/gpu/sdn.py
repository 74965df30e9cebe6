"""A ctypes binding of native/include/sdn.h for PyTorch tensors, for eng/gpu.sh.

Tensors are passed as they lie: NHWC images [B, H, W, C] and tokens [B, S, C], in the memory of the device used ("cpu" and
"cuda:emulated": host tensors; "cuda:0": CUDA tensors, as both sides share the device's primary context). Dependencies: torch only.
"""

import ctypes
import time
from ctypes import POINTER, byref, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_uint64, c_void_p

import torch

ABI_VERSION = 4
RUN, MEASURE = 0, 1
NONE, SILU, GELU, QUICK_GELU, GEGLU, RELU, TANH = range(7)
MATRIX, CONV2D, NORM, EMBEDDING = range(4)
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.float64: 3, torch.int32: 4, torch.int64: 5, torch.uint8: 6}


class Tensor(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("dtype", c_int32), ("rank", c_int32), ("shape", c_int64 * 4), ("stride", c_int64 * 4)]


class DeviceInfo(ctypes.Structure):
    _fields_ = [("kind", c_int32), ("index", c_int32), ("threads", c_int32), ("emulated", c_int32), ("total_bytes", c_int64),
                ("free_bytes", c_int64), ("name", c_char * 128), ("instruction_set", c_char * 32), ("multiprocessors", c_int32),
                ("threads_per_multiprocessor", c_int32), ("lost", c_int32), ("precision", c_int32), ("product_dtype", c_int32),
                ("reserved", c_int32)]


class WeightDesc(ctypes.Structure):
    _fields_ = [("kind", c_int32), ("storage", c_int32), ("part_count", c_int32), ("geglu", c_int32), ("doubles", c_int32),
                ("reserved", c_int32), ("parts", POINTER(Tensor)), ("biases", POINTER(Tensor))]


class WeightInfo(ctypes.Structure):
    _fields_ = [("kind", c_int32), ("storage", c_int32), ("rows", c_int64), ("columns", c_int64), ("bytes", c_int64)]


class ExecStats(ctypes.Structure):
    _fields_ = [("live_bytes", c_int64), ("peak_bytes", c_int64), ("flops", c_int64), ("ops", c_int64)]


class Conv2dParams(ctypes.Structure):
    _fields_ = [(name, c_int32) for name in ("stride", "pad_top", "pad_left", "pad_bottom", "pad_right", "upsample_height",
                                             "upsample_width", "reserved")]


class AttentionParams(ctypes.Structure):
    _fields_ = [("heads", c_int32), ("causal", c_int32), ("scale", c_float), ("operands", c_int32)]


class TimestepParams(ctypes.Structure):
    _fields_ = [("flip_sin_to_cos", c_int32), ("downscale_freq_shift", c_float), ("max_period", c_float), ("reserved", c_int32)]


STRUCTS = [Tensor, DeviceInfo, WeightDesc, WeightInfo, ExecStats, Conv2dParams, AttentionParams, TimestepParams]  # as SDN_STRUCT_*

HANDLE, TENSOR = c_void_p, POINTER(Tensor)
SIGNATURES = {
    "sdn_device_count": [c_int32, POINTER(c_int32)],
    "sdn_device_open": [c_char_p, c_int32, c_int32, POINTER(HANDLE)],
    "sdn_device_close": [HANDLE],
    "sdn_device_get_info": [HANDLE, POINTER(DeviceInfo)],
    "sdn_device_measure_peak": [HANDLE, c_int32, c_double, POINTER(c_double)],
    "sdn_exec_create": [HANDLE, c_int32, c_int64, POINTER(HANDLE)],
    "sdn_exec_destroy": [HANDLE],
    "sdn_exec_get_stats": [HANDLE, POINTER(ExecStats)],
    "sdn_exec_synchronize": [HANDLE],
    "sdn_event_create": [HANDLE, POINTER(HANDLE)],
    "sdn_event_destroy": [HANDLE],
    "sdn_event_record": [HANDLE, HANDLE],
    "sdn_event_synchronize": [HANDLE],
    "sdn_event_elapsed": [HANDLE, HANDLE, POINTER(c_double)],
    "sdn_capture_begin": [HANDLE],
    "sdn_capture_end": [HANDLE, POINTER(HANDLE)],
    "sdn_graph_launch": [HANDLE, HANDLE],
    "sdn_graph_destroy": [HANDLE],
    "sdn_weight_create": [HANDLE, POINTER(WeightDesc), POINTER(HANDLE)],
    "sdn_weight_destroy": [HANDLE],
    "sdn_weight_get_info": [HANDLE, POINTER(WeightInfo)],
    "sdn_conv2d": [HANDLE, TENSOR, TENSOR, HANDLE, TENSOR, TENSOR, POINTER(Conv2dParams)],
    "sdn_linear": [HANDLE, TENSOR, TENSOR, TENSOR, HANDLE, TENSOR, c_int32],
    "sdn_attention": [HANDLE, TENSOR, TENSOR, TENSOR, TENSOR, POINTER(AttentionParams)],
    "sdn_group_norm": [HANDLE, TENSOR, TENSOR, TENSOR, HANDLE, c_int32, c_float, c_int32],
    "sdn_layer_norm": [HANDLE, TENSOR, TENSOR, HANDLE, c_float],
    "sdn_embedding": [HANDLE, TENSOR, TENSOR, HANDLE, HANDLE],
    "sdn_gather_rows": [HANDLE, TENSOR, TENSOR, TENSOR],
    "sdn_timestep_embedding": [HANDLE, TENSOR, TENSOR, POINTER(TimestepParams)],
    "sdn_activation": [HANDLE, TENSOR, TENSOR, c_int32],
    "sdn_linear_combination": [HANDLE, TENSOR, TENSOR, POINTER(c_double), c_int32],
    "sdn_blend": [HANDLE, TENSOR, TENSOR, TENSOR, TENSOR],
    "sdn_clamp": [HANDLE, TENSOR, TENSOR, c_float, c_float],
    "sdn_dynamic_threshold": [HANDLE, TENSOR, TENSOR, c_float, c_float],
    "sdn_rescale_guidance": [HANDLE, TENSOR, TENSOR, TENSOR, c_float],
    "sdn_copy": [HANDLE, TENSOR, TENSOR],
    "sdn_image_to_uint8": [HANDLE, TENSOR, TENSOR],
    "sdn_is_finite": [HANDLE, TENSOR, POINTER(c_int32)],
    "sdn_philox_normal": [HANDLE, TENSOR, c_uint64, c_uint64, c_int32, c_int32, POINTER(c_uint64)],
}


class SdnError(RuntimeError):
    pass


class Library:
    """libsdn.so. Every function of SIGNATURES is an attribute without its prefix that raises SdnError where it fails."""

    def __init__(self, path):
        self._dll = ctypes.CDLL(str(path))
        for name in ("sdn_last_error", "sdn_build_info"):
            getattr(self._dll, name).restype = c_char_p
        self._dll.sdn_exec_last_kernels.restype = c_char_p
        self._dll.sdn_exec_last_kernels.argtypes = [HANDLE]
        self._dll.sdn_struct_size.restype = c_int64
        version = self._dll.sdn_abi_version()
        if version != ABI_VERSION:
            raise SdnError(f"{path} has ABI version {version}, this binding is for {ABI_VERSION}")
        for kind, struct in enumerate(STRUCTS):
            size = self._dll.sdn_struct_size(c_int32(kind))
            if size != ctypes.sizeof(struct):
                raise SdnError(f"{path}: struct {struct.__name__} has {size} bytes, this binding has {ctypes.sizeof(struct)}")
        for name, arguments in SIGNATURES.items():
            function = getattr(self._dll, name)
            function.restype, function.argtypes = c_int32, arguments
            setattr(self, name[4:], self._checked(function))

    def _checked(self, function):
        def call(*arguments):
            if function(*arguments) != 0:
                raise SdnError(self._dll.sdn_last_error().decode())
        return call

    def build_info(self):
        return self._dll.sdn_build_info().decode()

    def last_kernels(self, exec_handle):
        return self._dll.sdn_exec_last_kernels(exec_handle).decode()

    def create(self, function, *arguments):
        handle = HANDLE()
        function(*arguments, byref(handle))
        return handle


def view(t):
    """The sdn_tensor of a torch tensor of rank 1 to 4, of any strides; None stays None."""
    if t is None:
        return None
    padding = 4 - t.dim()
    return Tensor(t.data_ptr(), DTYPES[t.dtype], t.dim(), (c_int64 * 4)(*t.shape, *[1] * padding), (c_int64 * 4)(*t.stride(), *[0] * padding))


def ref(t):
    return None if t is None else byref(view(t))


class Device:
    def __init__(self, library, name, threads=0):
        self.library, self.name = library, name
        self.handle = library.create(library.device_open, name.encode(), threads, 0)

    def info(self):
        info = DeviceInfo()
        self.library.device_get_info(self.handle, byref(info))
        return info

    def peak_gflops(self, seconds=0.5):
        gflops = c_double()
        self.library.device_measure_peak(self.handle, DTYPES[torch.float32], seconds, byref(gflops))
        return gflops.value

    def weight(self, kind, parts, biases=None, storage=torch.float32, geglu=False, doubles=False):
        """parts, biases: torch tensors, copied. The handle is kept until close_weight()."""
        host = [p.detach().cpu().contiguous() for p in parts]
        host_biases = [b.detach().cpu().contiguous() for b in biases] if biases else None
        desc = WeightDesc(kind, DTYPES[storage], len(host), int(geglu), int(doubles), 0, (Tensor * len(host))(*[view(p) for p in host]),
                          (Tensor * len(host))(*[view(b) for b in host_biases]) if host_biases else None)
        return self.library.create(self.library.weight_create, self.handle, byref(desc))

    def close_weight(self, weight):
        self.library.weight_destroy(weight)

    def close(self):
        self.library.device_close(self.handle)


class Exec:
    """Runs `ops`, a function of an Exec that calls its op methods, with an arena of exactly what they need."""

    def __init__(self, device, ops):
        self.device, self.library, self.ops = device, device.library, ops
        library = self.library
        self.handle = library.create(library.exec_create, device.handle, MEASURE, 0)
        ops(self)
        self.stats = ExecStats()
        library.exec_get_stats(self.handle, byref(self.stats))
        library.exec_destroy(self.handle)
        self.handle = library.create(library.exec_create, device.handle, RUN, self.stats.peak_bytes)

    def run(self):
        self.ops(self)
        kernels = self.library.last_kernels(self.handle)
        self.library.exec_synchronize(self.handle)
        return kernels

    def seconds(self, target=0.02, on_gpu=True):
        """Of one call of ops: by events around replays of a graph of repeated calls on a GPU, else by the clock around one call."""
        if not on_gpu:
            begin = time.perf_counter()
            self.run()
            return time.perf_counter() - begin
        calls = 10
        self.run()
        self.library.capture_begin(self.handle)
        for _ in range(calls):
            self.ops(self)
        graph = self.library.create(self.library.capture_end, self.handle)
        begin, end = (self.library.create(self.library.event_create, self.device.handle) for _ in range(2))

        def timed(replays):
            elapsed = c_double()
            self.library.event_record(begin, self.handle)
            for _ in range(replays):
                self.library.graph_launch(graph, self.handle)
            self.library.event_record(end, self.handle)
            self.library.event_synchronize(end)
            self.library.event_elapsed(begin, end, byref(elapsed))
            return elapsed.value / 1e3 / (replays * calls)

        timed(2)
        replays = max(1, min(200, int(target / (max(timed(1), 1e-7) * calls))))
        best = sorted(timed(replays) for _ in range(3))[1]
        for event in (begin, end):
            self.library.event_destroy(event)
        self.library.graph_destroy(graph)
        return best

    def close(self):
        self.library.exec_destroy(self.handle)

    # ---- ops; out comes first -------------------------------------------------------------------------------------------

    def conv2d(self, out, x, weight, channel_add=None, residual=None, stride=1, padding=(1, 1, 1, 1), upsample=(0, 0)):
        self.library.conv2d(self.handle, ref(out), ref(x), weight, ref(channel_add), ref(residual),
                            byref(Conv2dParams(stride, *padding, *upsample, 0)))

    def linear(self, out, x, weight, x2=None, residual=None, activation=NONE):
        self.library.linear(self.handle, ref(out), ref(x), ref(x2), weight, ref(residual), activation)

    def attention(self, out, q, k, v, heads, scale, causal=False):
        self.library.attention(self.handle, ref(out), ref(q), ref(k), ref(v), byref(AttentionParams(heads, int(causal), scale, 0)))

    def group_norm(self, out, x, weight, groups, eps, x2=None, activation=NONE):
        self.library.group_norm(self.handle, ref(out), ref(x), ref(x2), weight, groups, eps, activation)

    def layer_norm(self, out, x, weight, eps):
        self.library.layer_norm(self.handle, ref(out), ref(x), weight, eps)

    def embedding(self, out, ids, token, position=None):
        self.library.embedding(self.handle, ref(out), ref(ids), token, position)

    def gather_rows(self, out, x, rows):
        self.library.gather_rows(self.handle, ref(out), ref(x), ref(rows))

    def timestep_embedding(self, out, timesteps, cosines_first=True, shift=0.0, max_period=10000.0):
        self.library.timestep_embedding(self.handle, ref(out), ref(timesteps), byref(TimestepParams(int(cosines_first), shift, max_period, 0)))

    def activation(self, out, x, kind):
        self.library.activation(self.handle, ref(out), ref(x), kind)

    def linear_combination(self, out, inputs, coefficients):
        count = len(inputs)
        self.library.linear_combination(self.handle, ref(out), (Tensor * count)(*[view(t) for t in inputs]), (c_double * count)(*coefficients), count)

    def dynamic_threshold(self, out, x, ratio, max_value):
        self.library.dynamic_threshold(self.handle, ref(out), ref(x), ratio, max_value)

    def rescale_guidance(self, out, guided, cond, factor):
        self.library.rescale_guidance(self.handle, ref(out), ref(guided), ref(cond), factor)

    def copy(self, out, x):
        self.library.copy(self.handle, ref(out), ref(x))

    def image_to_uint8(self, out, x):
        self.library.image_to_uint8(self.handle, ref(out), ref(x))

    def philox_normal(self, out, seed, offset=0, multiprocessors=0, threads_per_multiprocessor=0):
        self.library.philox_normal(self.handle, ref(out), seed, offset, multiprocessors, threads_per_multiprocessor, None)
