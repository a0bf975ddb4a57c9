// Threads lent by the caller. The module never starts one: where work splits well (sealing to many,
// checking many leaves) it offers the pieces to a Parallel, and without one does them itself.
#pragma once

#include <cstddef>
#include <type_traits>

namespace slipway::mls {

class Parallel {
 public:
  using Piece = void (*)(void* context, size_t index);

  virtual ~Parallel() = default;
  // Calls piece(context, i) once for each i below count, in any order, on any threads, and returns
  // when all have returned. The calling thread may do some of them. Pieces neither throw nor block.
  virtual void run(size_t count, Piece piece, void* context) = 0;
};

// f(i) for each i below count; on the calling thread if `parallel` is null.
template <class F>
void parallel_for(Parallel* parallel, size_t count, F&& f) {
  if (parallel == nullptr || count < 2) {
    for (size_t i = 0; i < count; ++i) {
      f(i);
    }
    return;
  }
  using Function = std::remove_reference_t<F>;
  parallel->run(
      count, [](void* context, size_t i) { (*static_cast<Function*>(context))(i); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

}  // namespace slipway::mls
