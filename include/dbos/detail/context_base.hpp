// What the parts of dbos::Context stand on.
#pragma once

namespace dbos {

namespace runtime {
class Run;
}

namespace detail {

class DebouncerBase;

class ContextBase {
   public:
    ContextBase(const ContextBase&) = delete;
    ContextBase& operator=(const ContextBase&) = delete;

   protected:
    friend class DebouncerBase;
    explicit ContextBase(runtime::Run& run) noexcept : run_(run) {}
    runtime::Run& run_;
};

}  // namespace detail

}  // namespace dbos
