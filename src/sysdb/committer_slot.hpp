// A write of a blocking caller.
#pragma once

#include "sysdb/committer.hpp"

namespace dbos::sysdb {

/// A slot that goes back when the blocking caller is done with it.
class Slot {
   public:
    explicit Slot(Committer& committer) : committer_(committer), write_(committer.take()) {}
    ~Slot() { committer_.give_back(write_); }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    Write* operator->() const noexcept { return &write_; }
    Write& operator*() const noexcept { return write_; }

   private:
    Committer& committer_;
    Write& write_;
};

}  // namespace dbos::sysdb
