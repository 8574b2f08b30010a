// What a Client holds; for the files that implement it.
#pragma once

#include <memory>

#include "client/core.hpp"
#include "dbos/client.hpp"

namespace dbos {

struct Client::Impl {
    std::shared_ptr<client::Core> core;
    bool borrowed = false;  // the core is that of an App
};

}  // namespace dbos
