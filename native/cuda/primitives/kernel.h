// Everything a kernel may use.
#pragma once

#include "cuda/primitives/async.h"
#include "cuda/primitives/dtype.h"
#include "cuda/primitives/launch.h"
#include "cuda/primitives/math.h"
#include "cuda/primitives/mma.h"
#include "cuda/primitives/shared.h"
#include "cuda/primitives/target.h"
#include "cuda/primitives/thread.h"
#include "cuda/primitives/vec.h"
