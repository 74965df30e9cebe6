/* sdn.h - the whole C ABI of StableDiffusion.Native's core library (libsdn.so, sdn.dll).
 *
 * Rules. C11, opaque handles, fixed-width types, UTF-8 text. Every function returns an sdn_status, except the few that cannot fail;
 * the text of the last failure on the calling thread is sdn_last_error(). No exception crosses this boundary and nothing aborts.
 * A struct that crosses it has its size asked by sdn_struct_size(), and the whole by sdn_abi_version(), so that a caller compiled
 * against another version notices before the first call.
 *
 * Tensors are row-major views. An image is NHWC: [B,H,W,C], and the same memory is its tokens [B,H*W,C]. "Dense" means that the
 * strides are those of a packed row-major array. Unless an op says otherwise its tensors are dense and its output does not overlap
 * its inputs. Activations are float32 on a CPU device; on a CUDA device float32, float16 or bfloat16, the same for all activations
 * of one op.
 *
 * Time. On a CPU device an op is complete when it returns. On a CUDA device ops are queued on the exec's stream, in order; what
 * reads results on the host (sdn_download, sdn_is_finite, sdn_exec_synchronize) waits for them. A fault of the device may therefore
 * show at a later call; with the environment variable SDN_CUDA_SYNC=1 every op waits, and the fault names its op.
 *
 * Threads. A device and a weight may be used from any number of threads. An exec belongs to one thread at a time, but
 * sdn_exec_cancel() may be called from any.
 */
#ifndef SDN_H
#define SDN_H

#include <stdint.h>

#if defined(_WIN32)
#if defined(SDN_BUILDING)
#define SDN_API __declspec(dllexport)
#else
#define SDN_API __declspec(dllimport)
#endif
#else
#define SDN_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define SDN_ABI_VERSION 4

/* ---- status ------------------------------------------------------------------------------------------------------------ */

typedef int32_t sdn_status;
enum {
    SDN_OK = 0,
    SDN_ERROR_INVALID_ARGUMENT = 1, /* a null pointer, an unknown enum value, a parameter out of range */
    SDN_ERROR_SHAPE = 2,            /* tensor shapes, strides or dtypes that do not fit the op */
    SDN_ERROR_OUT_OF_MEMORY = 3,    /* the text names the needed and the available bytes */
    SDN_ERROR_UNSUPPORTED = 4,      /* this device cannot do it (and the text says what could) */
    SDN_ERROR_NO_DEVICE = 5,        /* no such device, and why */
    SDN_ERROR_CANCELLED = 6,        /* sdn_exec_cancel() was called */
    SDN_ERROR_DEVICE = 7,           /* the device reported a fault */
    SDN_ERROR_INTERNAL = 8          /* a bug in this library */
};

/* Text of the last failure on this thread, never NULL. Valid until the next call on this thread. */
SDN_API const char* sdn_last_error(void);

/* ---- version ----------------------------------------------------------------------------------------------------------- */

enum {
    SDN_STRUCT_TENSOR = 0,
    SDN_STRUCT_DEVICE_INFO = 1,
    SDN_STRUCT_WEIGHT_DESC = 2,
    SDN_STRUCT_WEIGHT_INFO = 3,
    SDN_STRUCT_EXEC_STATS = 4,
    SDN_STRUCT_CONV2D_PARAMS = 5,
    SDN_STRUCT_ATTENTION_PARAMS = 6,
    SDN_STRUCT_TIMESTEP_PARAMS = 7
};

SDN_API int32_t sdn_abi_version(void);         /* SDN_ABI_VERSION of the library */
SDN_API int64_t sdn_struct_size(int32_t kind); /* bytes, or -1 for an unknown kind */
SDN_API const char* sdn_build_info(void);      /* compiler, instruction sets, CUDA or why not; one line */

/* ---- tensors ----------------------------------------------------------------------------------------------------------- */

enum {
    SDN_FLOAT32 = 0,
    SDN_FLOAT16 = 1,
    SDN_BFLOAT16 = 2,
    SDN_FLOAT64 = 3,
    SDN_INT32 = 4,
    SDN_INT64 = 5,
    SDN_UINT8 = 6,
    SDN_INT8 = 7 /* weights only */
};

typedef struct sdn_tensor {
    void* data; /* on the device of the exec it is used with */
    int32_t dtype;
    int32_t rank;      /* 1..4 */
    int64_t shape[4];  /* entries past rank are 1 */
    int64_t stride[4]; /* in elements; entries past rank are 0 */
} sdn_tensor;

/* ---- devices ----------------------------------------------------------------------------------------------------------- */

typedef struct sdn_device sdn_device;

enum { SDN_DEVICE_CPU = 0, SDN_DEVICE_CUDA = 1 };

/* What a CPU device may do with matrices and convolutions to be faster. */
enum {
    SDN_PRECISION_REFERENCE = 0, /* products of float32, 16-bit weights widened, one for each term */
    SDN_PRECISION_FAST = 1       /* 3x3 convolutions by Winograd's F(4x4,3x3) where that pays; with the instruction set avx512bf16, products
                                  * of bfloat16 for weights stored so, inputs rounded to it and sums in float32; on machines with
                                  * AVX512_FP16 and the set avx512, products of float16 for weights stored in 16 bits, sums of up to 64
                                  * of them in float16 and of these in float32. */
};

typedef struct sdn_device_info {
    int32_t kind;
    int32_t index;                      /* of its kind */
    int32_t threads;                    /* CPU: worker threads, the caller included */
    int32_t emulated;                   /* CUDA: 1 when the kernels run on the CPU, for tests */
    int64_t total_bytes;                /* memory of the device; CPU: the smaller of RAM and the cgroup limit */
    int64_t free_bytes;                 /* available now, under the same limits */
    char name[128];                     /* "AMD EPYC 9R14", "NVIDIA H200" */
    char instruction_set[32];           /* "portable", "avx2", "avx512", "avx512bf16"; CUDA: "sm_90" */
    int32_t multiprocessors;            /* CUDA; CPU: 0 */
    int32_t threads_per_multiprocessor; /* CUDA: most resident threads; CPU: 0 */
    int32_t lost;                       /* 1 after a fault that ended the device for this process */
    int32_t precision;                  /* SDN_PRECISION_*; CUDA: SDN_PRECISION_REFERENCE */
    int32_t product_dtype;              /* CPU: what weights stored in 16 bits are multiplied in: SDN_FLOAT32; SDN_BFLOAT16, for weights
                                         * stored so; or SDN_FLOAT16. CUDA: SDN_FLOAT32 */
    int32_t reserved;
} sdn_device_info;

/* Devices of a kind on this machine. With *count == 0 the reason is in sdn_last_error(). */
SDN_API sdn_status sdn_device_count(int32_t kind, int32_t* count);

/* Opens "cpu", "cpu:portable", "cpu:avx2", "cpu:avx512", "cpu:avx512bf16", "cuda", "cuda:N" or, in builds with SDN_EMULATION,
 * "cuda:emulated", which runs the CUDA kernels on the CPU. Plain "cpu" takes the best instruction set of the machine (avx512bf16 only where
 * its products are faster than those of float32), or the one that the environment variable SDN_CPU names. threads: CPU worker threads, 0 =
 * one per available core. precision: SDN_PRECISION_*, of which a CUDA device takes no notice. */
SDN_API sdn_status sdn_device_open(const char* name, int32_t threads, int32_t precision, sdn_device** device);
SDN_API sdn_status sdn_device_close(sdn_device* device); /* NULL is fine */
SDN_API sdn_status sdn_device_get_info(const sdn_device* device, sdn_device_info* info);

/* The CUcontext (the device's primary one) for a caller's own CUDA code; NULL on other devices. */
SDN_API sdn_status sdn_device_get_context(const sdn_device* device, void** context);

/* Measures what the device's multiply-add units can do at most beside weights of a dtype, in GFLOP/s, in about `seconds`: on a CPU device
 * over all its threads float32, or pairs of bfloat16 or float16 where it multiplies these; on a CUDA device float16 with mma.sync over all
 * multiprocessors. */
SDN_API sdn_status sdn_device_measure_peak(sdn_device* device, int32_t dtype, double seconds, double* gflops);

/* Device memory that outlives an exec (latents, prompt embeddings). 64-byte aligned. Freed memory of a CUDA device is used again only
 * when the work queued on it is done. */
SDN_API sdn_status sdn_buffer_alloc(sdn_device* device, int64_t bytes, void** data);
SDN_API sdn_status sdn_buffer_free(sdn_device* device, void* data); /* NULL is fine */

/* ---- execs: where an op runs ------------------------------------------------------------------------------------------- */

typedef struct sdn_exec sdn_exec;

enum {
    SDN_EXEC_RUN = 0,
    SDN_EXEC_MEASURE = 1 /* shape checks and arena bookkeeping only: nothing is computed, no memory is taken */
};

typedef struct sdn_exec_stats {
    int64_t live_bytes; /* of the arena, now */
    int64_t peak_bytes; /* of the arena, since creation or sdn_exec_reset() */
    int64_t flops;      /* of the ops called since creation or reset: 2 x multiply-adds of matrix work */
    int64_t ops;        /* ops called since creation or reset */
} sdn_exec_stats;

/* An arena of exactly arena_bytes serves all intermediates and the ops' scratch. The same sequence of calls takes the same peak in
 * both modes, so: measure, read peak_bytes, create with that, run. In measure mode arena_bytes is ignored. */
SDN_API sdn_status sdn_exec_create(sdn_device* device, int32_t mode, int64_t arena_bytes, sdn_exec** exec);
SDN_API sdn_status sdn_exec_destroy(sdn_exec* exec); /* NULL is fine */

/* 64-byte aligned. In measure mode the address is a stand-in that only the arena and shape checks may look at. */
SDN_API sdn_status sdn_exec_alloc(sdn_exec* exec, int64_t bytes, void** data);
SDN_API sdn_status sdn_exec_free(sdn_exec* exec, void* data);
SDN_API sdn_status sdn_exec_reset(sdn_exec* exec); /* frees everything in the arena, zeroes the stats, clears a cancellation */
SDN_API sdn_status sdn_exec_get_stats(const sdn_exec* exec, sdn_exec_stats* stats);
SDN_API sdn_status sdn_exec_cancel(sdn_exec* exec); /* from any thread: running and later ops return SDN_ERROR_CANCELLED until reset */

/* Host <-> device, in the order of the exec's ops. On return the host memory is free to go, or filled. */
SDN_API sdn_status sdn_upload(sdn_exec* exec, void* device_data, const void* host_data, int64_t bytes);
SDN_API sdn_status sdn_download(sdn_exec* exec, void* host_data, const void* device_data, int64_t bytes);

/* Waits for all ops of the exec. */
SDN_API sdn_status sdn_exec_synchronize(sdn_exec* exec);
/* The CUstream the ops are queued on, for a caller's own kernels; NULL on other devices. */
SDN_API sdn_status sdn_exec_get_stream(const sdn_exec* exec, void** stream);
/* Names the kernels that the last op ran, such as "sm80_gemm_128x160x32_split4"; never NULL. Valid until the next op of the exec. */
SDN_API const char* sdn_exec_last_kernels(const sdn_exec* exec);

/* ---- events: points in an exec's work ---------------------------------------------------------------------------------- */

typedef struct sdn_event sdn_event;

SDN_API sdn_status sdn_event_create(sdn_device* device, sdn_event** event);
SDN_API sdn_status sdn_event_destroy(sdn_event* event);                /* NULL is fine */
SDN_API sdn_status sdn_event_record(sdn_event* event, sdn_exec* exec); /* after the ops so far; recording again moves it */
SDN_API sdn_status sdn_event_query(sdn_event* event, int32_t* done);   /* never recorded: done */
SDN_API sdn_status sdn_event_synchronize(sdn_event* event);            /* waits until it is reached */
/* Device time between two recorded events; both must be reached. */
SDN_API sdn_status sdn_event_elapsed(const sdn_event* begin, const sdn_event* end, double* milliseconds);

/* ---- graphs: a sequence of ops, captured once and launched as one ------------------------------------------------------- */

typedef struct sdn_graph sdn_graph;

/* Between begin and end the exec's ops are recorded, not run. The graph holds their addresses: the exec and every buffer used must live
 * as long as it is launched, and nothing else may use the exec's arena meanwhile. Warm up by running the same ops once before. What
 * waits for the device (sdn_download, sdn_is_finite) or uploads cannot be captured. CUDA devices only. */
SDN_API sdn_status sdn_capture_begin(sdn_exec* exec);
/* After a failed op the capture is void: *graph is NULL and the status tells why. */
SDN_API sdn_status sdn_capture_end(sdn_exec* exec, sdn_graph** graph);
/* Queues the whole sequence on an exec of the same device (not necessarily the one that captured). */
SDN_API sdn_status sdn_graph_launch(sdn_graph* graph, sdn_exec* exec);
SDN_API sdn_status sdn_graph_destroy(sdn_graph* graph); /* NULL is fine; waits until it is not running */

/* ---- weights ----------------------------------------------------------------------------------------------------------- */

typedef struct sdn_weight sdn_weight;

enum {
    SDN_WEIGHT_MATRIX = 0,   /* parts [out_i, in]: linear and 1x1 convolution ([out,in,1,1] is accepted) */
    SDN_WEIGHT_CONV2D = 1,   /* one part [out, in, kh, kw] */
    SDN_WEIGHT_NORM = 2,     /* parts[0] = scale [C], biases[0] = shift [C] */
    SDN_WEIGHT_EMBEDDING = 3 /* one part [rows, C] */
};

typedef struct sdn_weight_desc {
    int32_t kind;
    int32_t storage;    /* SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16, or SDN_INT8; norms and biases are always kept in float32 */
    int32_t part_count; /* parts are stacked along the output: to_q | to_k | to_v, value | gate */
    int32_t geglu;      /* 1: two parts of equal shape, value and gate, to be used with SDN_ACTIVATION_GEGLU only */
    int32_t doubles;    /* 1: a 3x3 convolution that will see images doubled by nearest neighbour; a device may keep sums for it */
    int32_t reserved;
    const sdn_tensor* parts;  /* host memory, dense; float32, float16, bfloat16 or float64 */
    const sdn_tensor* biases; /* [part_count] of [out_i], or NULL for none at all */
} sdn_weight_desc;

typedef struct sdn_weight_info {
    int32_t kind;
    int32_t storage;
    int64_t rows;    /* outputs of all parts; norm: C; embedding: rows */
    int64_t columns; /* inputs (conv2d: in*kh*kw; norm: 1) */
    int64_t bytes;   /* of device memory */
} sdn_weight_info;

/* SDN_INT8 is for matrices and convolutions whose inputs come in fours, on CPU devices with AVX512_VNNI. Each output has a scale for each
 * block of up to 1536 terms (input x tap), and a weight is scale * (-127 .. 127), the largest of them being 127. Inputs are rounded alike,
 * with a scale for each row and block, and the products of a block are summed exactly.
 *
 * Copies and packs; the host memory is free to go on return. Thread-safe: a loader packs many at once. */
SDN_API sdn_status sdn_weight_create(sdn_device* device, const sdn_weight_desc* desc, sdn_weight** weight);
SDN_API sdn_status sdn_weight_destroy(sdn_weight* weight); /* NULL is fine */
SDN_API sdn_status sdn_weight_get_info(const sdn_weight* weight, sdn_weight_info* info);

/* The logical weight as it was given (parts stacked, [rows, columns], conv2d as [out,in,kh,kw]) in the storage dtype, bit for bit
 * where the source had that dtype (SDN_INT8: in float32, what the bytes stand for); and the bias [rows] in float32. Either may be NULL. */
SDN_API sdn_status sdn_weight_unpack(const sdn_weight* weight, void* values, float* bias);

/* ---- ops --------------------------------------------------------------------------------------------------------------- */

enum {
    SDN_ACTIVATION_NONE = 0,
    SDN_ACTIVATION_SILU = 1,       /* x * sigmoid(x) */
    SDN_ACTIVATION_GELU = 2,       /* x * (1 + erf(x/sqrt 2)) / 2 */
    SDN_ACTIVATION_QUICK_GELU = 3, /* x * sigmoid(1.702 x) */
    SDN_ACTIVATION_GEGLU = 4,      /* value * gelu(gate); linear with a geglu weight only, halves the outputs */
    SDN_ACTIVATION_RELU = 5,       /* max(x, 0) */
    SDN_ACTIVATION_TANH = 6
};

typedef struct sdn_conv2d_params {
    int32_t stride;                                   /* 1 or 2 */
    int32_t pad_top, pad_left, pad_bottom, pad_right; /* zeros */
    int32_t upsample_height, upsample_width;          /* 0, or nearest-neighbour resize of x to this size before the padding */
    int32_t reserved;
} sdn_conv2d_params;

/* out[b,y,x,o] = sum w[o,c,i,j] * x[b, y*stride+i-pad_top, x*stride+j-pad_left, c] + bias[o] + channel_add[b,o] + residual[b,y,x,o]
 * x [B,H,W,C], out [B,Ho,Wo,O], channel_add [B,O] or NULL, residual like out or NULL. */
SDN_API sdn_status sdn_conv2d(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, const sdn_weight* weight,
                              const sdn_tensor* channel_add, const sdn_tensor* residual, const sdn_conv2d_params* params);

/* out[m,n] = activation(sum_k [x | x2][m,k] * w[n,k] + bias[n]) + residual[m,n]. x [...,K1], x2 [...,K2] or NULL, K1 + K2 = columns;
 * out [...,N] (geglu: N/2). Leading dimensions count as rows. */
SDN_API sdn_status sdn_linear(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, const sdn_tensor* x2, const sdn_weight* weight,
                              const sdn_tensor* residual, int32_t activation);

typedef struct sdn_attention_params {
    int32_t heads;
    int32_t causal;   /* 1: query i sees keys 0..i; needs Sq == Sk */
    float scale;      /* usually 1/sqrt(head dim) */
    int32_t operands; /* the storage of the weights beside: where a CPU device multiplies these in 16 bits (product_dtype), q, k, v and the
                       * softmax are rounded to these, too, and beside SDN_INT8 to SDN_FLOAT16 where that is its product_dtype; or 0 */
} sdn_attention_params;

/* out = softmax(scale * q k^T) v per head, online: no Sq x Sk matrix in memory. q [B,Sq,H*D], k [B,Sk,H*D], v [B,Sk,H*D],
 * out [B,Sq,H*D]; any strides with the last 1 (slices of a packed QKV). D from 1 to 512. */
SDN_API sdn_status sdn_attention(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* q, const sdn_tensor* k, const sdn_tensor* v,
                                 const sdn_attention_params* params);

/* x [B,...,C1], x2 [B,...,C2] or NULL (the groups run over C1 + C2, so a group may straddle the seam), out [B,...,C1+C2].
 * Biased variance by two passes. activation: NONE or SILU. */
SDN_API sdn_status sdn_group_norm(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, const sdn_tensor* x2,
                                  const sdn_weight* weight, int32_t groups, float eps, int32_t activation);

/* Over the last dimension. */
SDN_API sdn_status sdn_layer_norm(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, const sdn_weight* weight, float eps);

/* out[b,t,:] = token[ids[b,t],:] + position[t,:]. ids int32 [B,T]; position may be NULL. An id out of range is an error; on a CUDA
 * device, where nobody looks at the ids before, its row is NaN. */
SDN_API sdn_status sdn_embedding(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* ids, const sdn_weight* token,
                                 const sdn_weight* position);

/* out[m,:] = x[rows[m],:]. x [R,C], rows int32 [M], out [M,C], of any dtype. A row out of range as in sdn_embedding (zeros in an
 * integer tensor). */
SDN_API sdn_status sdn_gather_rows(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, const sdn_tensor* rows);

typedef struct sdn_timestep_params {
    int32_t flip_sin_to_cos; /* 1: cosines first */
    float downscale_freq_shift;
    float max_period; /* 10000 */
    int32_t reserved;
} sdn_timestep_params;

/* Sinusoidal embedding as diffusers' get_timestep_embedding. timesteps float32 [N], out [N,dim]; an odd dim ends with a zero. */
SDN_API sdn_status sdn_timestep_embedding(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* timesteps,
                                          const sdn_timestep_params* params);

/* out = activation(x), any but GEGLU; out may be x. */
SDN_API sdn_status sdn_activation(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, int32_t activation);

/* out = sum coefficients[i] * inputs[i], summed in float64 and rounded once. 1..8 inputs of out's shape; out may be one of them. On a
 * CUDA device each tensor may have a floating dtype of its own. */
SDN_API sdn_status sdn_linear_combination(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* inputs, const double* coefficients,
                                          int32_t count);

/* out = (1 - mask) * a + mask * b, in float64 and rounded once. a, b and out [B,H,W,C]; mask [B,H,W,C], with 1 in place of C for all
 * channels alike and of B for all samples alike. out may be a or b. On a CUDA device each tensor may have a floating dtype of its own. */
SDN_API sdn_status sdn_blend(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* a, const sdn_tensor* b, const sdn_tensor* mask);

/* out = min(max(x, low), high); out may be x. */
SDN_API sdn_status sdn_clamp(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, float low, float high);

/* Imagen's dynamic thresholding as in diffusers: per sample s = clamp(quantile(|x|, ratio), 1, max_value), out = clamp(x,-s,s)/s.
 * x [B,...]; out may be x. */
SDN_API sdn_status sdn_dynamic_threshold(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, float ratio, float max_value);

/* diffusers' rescale_noise_cfg: per sample r = guided * std(cond)/std(guided) (unbiased), out = factor*r + (1-factor)*guided.
 * out may be guided. On a CUDA device cond may be float16 or bfloat16 beside float32 guided. */
SDN_API sdn_status sdn_rescale_guidance(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* guided, const sdn_tensor* cond,
                                        float factor);

/* out[i] = (dtype of out) x[i] over equal shapes with any strides: dtype and layout conversion, slices, joins; a stride of 0 in x
 * repeats. Float to float16/bfloat16 rounds to nearest even. */
SDN_API sdn_status sdn_copy(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x);

/* out = round(255 * clamp(x/2 + 1/2, 0, 1)), half to even. x an activation, out uint8 of the same shape. */
SDN_API sdn_status sdn_image_to_uint8(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x);

/* *finite = 1 when no element is NaN or infinite. In measure mode 1. */
SDN_API sdn_status sdn_is_finite(sdn_exec* exec, const sdn_tensor* x, int32_t* finite);

/* Standard normals as torch.randn draws them on a CUDA device: Philox4x32-10, Box-Muller, and the grid that PyTorch launches on a GPU
 * with that many multiprocessors of that many resident threads (both 0: those of this device), which for large tensors decides which
 * draw goes where. out float32, dense. offset: draws of the generator so far, a multiple of 4; *next_offset (may be NULL): after this one.
 */
SDN_API sdn_status sdn_philox_normal(sdn_exec* exec, const sdn_tensor* out, uint64_t seed, uint64_t offset, int32_t multiprocessors,
                                     int32_t threads_per_multiprocessor, uint64_t* next_offset);

#ifdef __cplusplus
}
#endif
#endif /* SDN_H */
