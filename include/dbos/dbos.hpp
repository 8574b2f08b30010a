// Everything but dbos/ext/.
#pragma once

#include "dbos/app.hpp"
#include "dbos/client.hpp"
#include "dbos/codec.hpp"
#include "dbos/context.hpp"
#include "dbos/datasource.hpp"
#include "dbos/debouncer.hpp"
#include "dbos/error.hpp"
#include "dbos/explain.hpp"
#include "dbos/future.hpp"
#include "dbos/handle.hpp"
#include "dbos/log.hpp"
#include "dbos/options.hpp"
#include "dbos/types.hpp"
#include "dbos/value.hpp"
#include "dbos/version.hpp"
#include "dbos/workflow.hpp"
