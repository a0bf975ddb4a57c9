// Counts what a program has the cryptographic library do, and what it takes from and gives back to the heap. It is
// the same on any machine, other than time. Link work_meter.cc, which stands before the library's functions.
#pragma once

#include <cstddef>

namespace slipway::mls::testing {

struct Work {
  size_t public_key_ops = 0;
  size_t hashed_bytes = 0;
  size_t encrypted_bytes = 0;
  size_t heap_calls = 0;

  // As Budget counts: about a microsecond each.
  size_t units() const;
  friend Work operator-(const Work& a, const Work& b);
};
Work work_done();

}  // namespace slipway::mls::testing
