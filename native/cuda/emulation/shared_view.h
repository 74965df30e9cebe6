// primitives/shared.h in emulation: every access is checked against the array's bounds and the shadow. An element is read when it is
// converted to T, at once: `auto x = tile[i]` does not compile where x is used, for that would read at the use.
#pragma once

#include <cstring>
#include <type_traits>

#include "cuda/emulation/running.h"
#include "cuda/primitives/vec.h"

namespace sdn::cuda::SDN_TARGET {

template <class T>
class Shared {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16 && (sizeof(T) & (sizeof(T) - 1)) == 0);

  public:
    class Element {
      public:
        operator T() const&& { return get(); }
        void operator=(T value) && { set(value); }
        void operator=(Element&& other) && { set(other.get()); }
        template <class V>
        void operator+=(V value) && {
            set(static_cast<T>(get() + value));
        }
        template <class V>
        void operator-=(V value) && {
            set(static_cast<T>(get() - value));
        }
        template <class V>
        void operator*=(V value) && {
            set(static_cast<T>(get() * value));
        }
        void operator&() const = delete;

      private:
        friend class Shared;
        explicit Element(const emulation::Place& place) : place_(place) {}
        T get() const { return Shared::get<T>(place_); }
        void set(const T& value) const { Shared::set(place_, value); }

        emulation::Place place_;
    };

    SDN_DEVICE Element operator[](int i) const { return Element(place(i)); }
    SDN_DEVICE Shared operator+(int i) const { return Shared(place(i)); }
    template <int N>
    SDN_DEVICE Vec<T, N> read(int i) const {
        return get<Vec<T, N>>(place(i));
    }
    template <int N>
    SDN_DEVICE void write(int i, const Vec<T, N>& value) const {
        set(place(i), value);
    }
    SDN_DEVICE uint32_t address() const { return static_cast<uint32_t>(place_.at); }

    // What the views of cp.async and ldmatrix need.
    const emulation::Place& place() const { return place_; }
    explicit Shared(const emulation::Place& place) : place_(place) {}

  private:
    emulation::Place place(int i) const {
        emulation::Place result = place_;
        result.at += int64_t{i} * static_cast<int64_t>(sizeof(T));
        return result;
    }
    template <class V>
    static V get(const emulation::Place& place) {
        emulation::check_read<sizeof(V)>(place);
        V value;
        std::memcpy(&value, emulation::running.memory + place.at, sizeof value);
        return value;
    }
    template <class V>
    static void set(const emulation::Place& place, const V& value) {
        emulation::check_write<sizeof(V)>(place);
        std::memcpy(emulation::running.memory + place.at, &value, sizeof value);
    }

    emulation::Place place_;
};

template <class T>
SDN_DEVICE Shared<T> shared_array(int offset, int count) {
    emulation::require_array(offset, count, sizeof(T));
    const auto begin = static_cast<uint32_t>(offset);
    return Shared<T>(emulation::Place{offset, begin, begin + static_cast<uint32_t>(count * sizeof(T)), sizeof(T)});
}

}  // namespace sdn::cuda::SDN_TARGET
