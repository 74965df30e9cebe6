// Accesses to shared memory that the inline checks of running.h do not let pass: to 4-byte units in part, twice between two barriers, or
// wrong.
#include <algorithm>

#include "core/error.h"
#include "cuda/emulation/block.h"

namespace sdn::cuda::emulation {

namespace {

// Marks in place of a write's stamp: all clocks above any real one. A thread's cp.async has not landed; the four bytes of the unit have
// stamps of their own.
constexpr uint32_t kUnderWay = 0xffffffffu & ~kWhoMask;
constexpr uint32_t kBytes = kUnderWay - (1u << kWhoBits);

// A thread that reads what has been read since the last barrier this often, without a barrier or a collective, waits for somebody to
// write it: nobody will, for the threads of a block take turns at barriers and collectives only.
constexpr uint32_t kMostRepeats = 1u << 24;

enum class Access { read, read_of_warp, write };

class Checker {
  public:
    Checker(const Place& place, uint32_t bytes, int thread)
        : place_(place), bytes_(bytes), block_(*running.owner), thread_(thread), warp_(static_cast<uint32_t>(thread / kLanes)) {
        warp_barrier_ = block_.warp_barrier(thread / kLanes);
        clock_ = running.stamp & ~kWhoMask;
    }

    void require_inside() const {
        const int64_t begin = place_.begin, end = place_.end, element = place_.element;
        if (place_.at < begin || place_.at + bytes_ > end)
            block_.fault(
                thread_,
                "is out of bounds: %u bytes at element %lld of the shared array at byte %lld, which has %lld elements of %lld bytes",
                bytes_, static_cast<long long>((place_.at - begin) / element), static_cast<long long>(begin),
                static_cast<long long>((end - begin) / element), static_cast<long long>(element));
        if (place_.at % bytes_ != 0)
            block_.fault(thread_, "is misaligned: %u bytes at byte %lld of shared memory (element %lld of the array at byte %lld)", bytes_,
                         static_cast<long long>(place_.at), static_cast<long long>((place_.at - begin) / element),
                         static_cast<long long>(begin));
    }

    // The writes and reads of one unit or byte.
    template <Access Kind>
    void check(uint32_t& written, uint32_t& read, int64_t at) const {
        if (written >= kUnderWay)
            block_.fault(
                thread_,
                "%s byte %lld of shared memory%s, where a cp.async of thread %u has not landed: it does at that thread's wait_async",
                Kind == Access::write ? "writes" : "reads", static_cast<long long>(at), element(at).text, written & kWhoMask);
        if constexpr (Kind != Access::write) {
            if (written < running.born)
                block_.fault(thread_, "reads byte %lld of shared memory%s, which nobody has written: it is not initialised",
                             static_cast<long long>(at), element(at).text);
        }
        if (written >= running.barrier && !(Kind != Access::read_of_warp && who(written) == self()) &&
            !(warp_of(written) == warp_ && written < warp_barrier_))
            race(Kind == Access::write ? "writes" : "reads", "written", written, at);
        if constexpr (Kind == Access::write) {
            if (read >= running.barrier && who(read) != self() && !(warp_of(read) == warp_ && read < warp_barrier_))
                race("writes", "read", read, at);
            written = clock_ | self();
            read = 0;
        } else {
            read = clock_ | reader<Kind>(read);
        }
    }

    template <Access Kind>
    void check_all() const {
        uint32_t *writes = running.writes, *reads = running.reads;
        uint32_t *byte_writes = block_.byte_writes(), *byte_reads = block_.byte_reads();
        for (int64_t at = place_.at; at < place_.at + bytes_;) {
            const int64_t unit = at / 4, stop = std::min(place_.at + bytes_, 4 * (unit + 1));
            if (stop - at == 4 && writes[unit] != kBytes) {
                check<Kind>(writes[unit], reads[unit], at);
            } else {
                if (writes[unit] != kBytes) {
                    for (int64_t i = 4 * unit; i < 4 * unit + 4; ++i) {
                        byte_writes[i] = writes[unit];
                        byte_reads[i] = reads[unit];
                    }
                    writes[unit] = kBytes;
                }
                for (int64_t i = at; i < stop; ++i) check<Kind>(byte_writes[i], byte_reads[i], i);
                unite(writes[unit], reads[unit], byte_writes + 4 * unit, byte_reads + 4 * unit);
            }
            at = stop;
        }
    }

  private:
    uint32_t self() const { return static_cast<uint32_t>(thread_); }
    static uint32_t who(uint32_t stamp) { return stamp & kWhoMask; }
    static uint32_t warp_of(uint32_t stamp) {
        const uint32_t id = who(stamp);
        return id < kWarp ? id / kLanes : id == kMany ? kMany : id - kWarp;
    }

    // Who has read, now that the running thread (or all of its warp) has as well. An earlier reader need not be remembered when whoever
    // must be ordered after it must be ordered after this one too.
    template <Access Kind>
    uint32_t reader(uint32_t read) const {
        const uint32_t self = Kind == Access::read_of_warp ? kWarp + warp_ : this->self();
        if (read < running.barrier || who(read) == self) return self;
        if (warp_of(read) != warp_) return kMany;
        return read < warp_barrier_ ? self : kWarp + warp_;
    }

    // One stamp for the four bytes again, when they differ in nothing that matters.
    static void unite(uint32_t& written, uint32_t& read, const uint32_t* byte_writes, const uint32_t* byte_reads) {
        const auto write_age = [](uint32_t stamp) { return stamp < running.born ? 0 : stamp < running.barrier ? running.born : stamp; };
        const auto read_age = [](uint32_t stamp) { return stamp < running.barrier ? 0 : stamp; };
        const uint32_t first_write = write_age(byte_writes[0]), first_read = read_age(byte_reads[0]);
        bool same = true;
        for (int i = 1; i < 4; ++i) same &= write_age(byte_writes[i]) == first_write && read_age(byte_reads[i]) == first_read;
        if (!same) return;
        written = first_write;
        read = first_read;
    }

    struct Text {
        char text[96];
    };
    Text element(int64_t at) const {
        Text result;
        std::snprintf(result.text, sizeof result.text, " (element %lld of the array at byte %u)",
                      static_cast<long long>((at - place_.begin) / place_.element), place_.begin);
        return result;
    }

    [[noreturn]] void race(const char* now, const char* before, uint32_t stamp, int64_t at) const {
        char other[64];
        if (who(stamp) < kWarp)
            std::snprintf(other, sizeof other, "thread %u", who(stamp));
        else if (who(stamp) == kMany)
            std::snprintf(other, sizeof other, "threads of several warps");
        else
            std::snprintf(other, sizeof other, "several threads of warp %u", who(stamp) - kWarp);
        const bool of_warp = warp_of(stamp) == warp_;
        block_.fault(thread_, "race: %s byte %lld of shared memory%s, which has been %s by %s without %s in between", now,
                     static_cast<long long>(at), element(at).text, before, other, of_warp ? "sync_warp or sync_block" : "sync_block");
    }

    const Place& place_;
    const uint32_t bytes_;
    Block& block_;
    const int thread_;
    const uint32_t warp_;
    uint32_t warp_barrier_, clock_;
};

}  // namespace

namespace {

// Units that other threads have read since the last barrier, or this one: what most reads that are not plain are. False: look closer.
bool check_read_again(const Place& place, uint32_t bytes) {
    const Running& now = running;
    if (bytes < 4 || place.at < place.begin || place.at + bytes > place.end || place.at % bytes != 0) return false;
    const uint32_t *writes = now.writes + place.at / 4, age = now.barrier - now.born;
    uint32_t* reads = now.reads + place.at / 4;
    const uint32_t of_warp = (now.stamp & ~kWhoMask) | (kWarp + static_cast<uint32_t>(now.thread / kLanes));
    uint32_t after[4];
    for (uint32_t i = 0; i < bytes / 4; ++i) {
        const uint32_t read = reads[i];
        if (writes[i] - now.born >= age) return false;
        if (read < now.barrier)
            after[i] = now.stamp;
        else if ((read & kWhoMask) == kMany || read == of_warp || read == now.stamp)
            after[i] = read;
        else
            return false;
    }
    for (uint32_t i = 0; i < bytes / 4; ++i) reads[i] = after[i];
    return true;
}

}  // namespace

void check_read_fully(const Place& place, uint32_t bytes) {
    if (!check_read_again(place, bytes)) {
        const Checker checker(place, bytes, running.thread);
        checker.require_inside();
        checker.check_all<Access::read>();
    }
    if (++running.repeats == kMostRepeats)
        running.owner->fault(running.thread,
                             "reads shared memory %u times without a barrier or a collective: it waits for what no thread will write",
                             kMostRepeats);
}

void check_write_fully(const Place& place, uint32_t bytes) {
    const Checker checker(place, bytes, running.thread);
    checker.require_inside();
    checker.check_all<Access::write>();
}

void check_warp_read(const Place& place, uint32_t bytes, int thread) {
    const Checker checker(place, bytes, thread);
    checker.require_inside();
    checker.check_all<Access::read_of_warp>();
}

void begin_landing(const Place& place, uint32_t bytes) {
    check_write_fully(place, bytes);
    for (uint32_t i = 0; i < bytes / 4; ++i) running.writes[place.at / 4 + i] = kUnderWay | static_cast<uint32_t>(running.thread);
}

void end_landing(const Place& place, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes / 4; ++i) running.writes[place.at / 4 + i] = running.stamp;
}

void Block::forget_times() {
    constexpr uint32_t kBorn = 1u << kWhoBits, kBarrier = 2u << kWhoBits;
    const auto forget = [](uint32_t& written, uint32_t& read) {
        if (written < kBytes) written = written < running.born ? 0 : kBorn;
        read = 0;
    };
    for (size_t i = 0; i < writes_.size(); ++i) {
        if (writes_[i] == kBytes)
            for (size_t j = 4 * i; j < 4 * i + 4; ++j) forget(byte_writes_[j], byte_reads_[j]);
        forget(writes_[i], reads_[i]);
    }
    running.born = kBorn;
    running.barrier = kBarrier;
    for (Warp& warp : warps_) warp.barrier = kBarrier;
    clock_ = kBarrier >> kWhoBits;
}

}  // namespace sdn::cuda::emulation
