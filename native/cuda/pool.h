// Memory of one GPU. A freed block is used again, or given back, only when all the work that was queued before has been done.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "cuda/runtime/runtime.h"

namespace sdn::cuda {

class Pool : public std::enable_shared_from_this<Pool> {
  public:
    Pool(Runtime& runtime, int index) : runtime_(runtime), index_(index) {}
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    // Fails with SDN_ERROR_OUT_OF_MEMORY naming needed and free bytes. The block is back in the pool when the last pointer goes.
    std::shared_ptr<void> allocate(int64_t bytes, const char* purpose);
    // Bytes kept for later use.
    int64_t kept_bytes();

    // Streams whose work a freed block waits for. A stream that is being captured runs nothing, and nothing may be recorded on it.
    void add_stream(void* stream);
    void remove_stream(void* stream);
    void set_capturing(void* stream, bool capturing);

  private:
    struct Block {
        void* data;
        int64_t bytes;
        std::vector<void*> events;  // not reached yet
    };

    void give_back(void* data, int64_t bytes) noexcept;
    void collect();                            // drops the events that were reached
    void* take(int64_t bytes, int64_t* size);  // a kept block that fits, or nullptr
    void release_kept();

    Runtime& runtime_;
    int index_;
    std::mutex mutex_;
    std::set<void*> streams_, capturing_;
    std::vector<Block> kept_;
};

}  // namespace sdn::cuda
