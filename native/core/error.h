// Failures inside the library are exceptions; guard() at the C boundary turns each into a status and a text.
#pragma once

#include <exception>
#include <string>

#include "sdn.h"

#if defined(__GNUC__)
#define SDN_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define SDN_PRINTF(text, first)
#endif

namespace sdn {

class Error : public std::exception {
  public:
    Error(sdn_status status, std::string text) : status_(status), text_(std::move(text)) {}
    sdn_status status() const { return status_; }
    const char* what() const noexcept override { return text_.c_str(); }

  private:
    sdn_status status_;
    std::string text_;
};

// Throws an Error. The text says what is wrong and what is needed, without the name of the function: guard() adds that.
[[noreturn]] SDN_PRINTF(2, 3) void fail(sdn_status status, const char* format, ...);

// Keeps "function: text" as the calling thread's last error.
void set_last_error(const char* function, const char* text) noexcept;
const char* last_error() noexcept;

// The status of the exception being handled, after keeping its text. Call it in a catch block only.
sdn_status report_exception(const char* function) noexcept;

// Runs body; every exception becomes a status.
template <class Body>
sdn_status guard(const char* function, Body&& body) noexcept {
    try {
        body();
        return SDN_OK;
    } catch (...) {
        return report_exception(function);
    }
}

}  // namespace sdn
