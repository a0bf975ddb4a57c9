#pragma once
// Whether somebody else works on the other hardware thread of a processor of ours: unseen from inside a virtual machine, and told as no
// stolen time. What waits for its own results takes as long as ever then; what does many things at once takes up to twice as long.

namespace slipway::bench {

// Of the processor on which that is most, how long independent operations take in units of dependent ones. Takes some 0.3 ms for each
// processor, and leaves the thread free to run on all. Only its changes say something.
double processor_crowding();

}  // namespace slipway::bench
