// Weights on their way to the GPU: each loading thread borrows a lane of its own (stream, pinned buffer, device buffer), so that reading,
// copying and packing of several weights overlap.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/kernel_api.h"

namespace sdn::cuda {

class Device;

class Staging {
  public:
    struct Lane {
        Queue queue;
        void* pinned = nullptr;               // two halves of kHalfBytes
        void* events[2] = {};                 // when a half may be overwritten
        std::shared_ptr<void> device_memory;  // likewise two halves
    };

    explicit Staging(Device& device) : device_(device) {}
    ~Staging();
    Staging(const Staging&) = delete;
    Staging& operator=(const Staging&) = delete;

    // A lane for the life of the object. Waits when all are taken.
    class Loan {
      public:
        explicit Loan(Staging& staging) : staging_(staging), lane_(staging.borrow()) {}
        ~Loan() { staging_.give_back(lane_); }
        Loan(const Loan&) = delete;
        Loan& operator=(const Loan&) = delete;

        Queue& queue() { return lane_->queue; }
        // Brings row_count rows of row_bytes to the device in pieces and calls consume(device address, first row, rows) for each, which
        // queues what reads them. The host memory is free to go when finish() has returned.
        template <class Consume>
        void send(const void* rows, int64_t row_count, int64_t row_bytes, Consume&& consume) {
            const int64_t most = rows_per_piece(row_bytes);
            for (int64_t row = 0; row < row_count; row += most) {
                const int64_t count = row_count - row < most ? row_count - row : most;
                consume(send_piece(static_cast<const char*>(rows) + row * row_bytes, count * row_bytes), row, count);
                piece_sent();
            }
        }
        // Device memory to host memory.
        void receive(void* target, const void* source, int64_t bytes);
        void finish();

      private:
        static int64_t rows_per_piece(int64_t row_bytes);
        const void* send_piece(const char* source, int64_t bytes);
        void piece_sent();

        Staging& staging_;
        Lane* lane_;
        int half_ = 0;
        std::shared_ptr<void> oversized_;  // for a row that is longer than half a lane
    };

  private:
    static constexpr int64_t kHalfBytes = int64_t{4} << 20;
    static constexpr size_t kMostLanes = 8;

    Lane* borrow();
    void give_back(Lane* lane);
    std::unique_ptr<Lane> make_lane();

    Device& device_;
    std::mutex mutex_;
    std::condition_variable returned_;
    std::vector<std::unique_ptr<Lane>> lanes_;
    std::vector<Lane*> free_;
};

}  // namespace sdn::cuda
