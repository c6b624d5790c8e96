# Makes icc_rows.tsv (simulated ratings and the table of Shrout and Fleiss 1979) and icc_values.tsv
# (psych::ICC by analysis of variance; Lin's concordance of the first two raters by epiR::epi.ccc).
# Run in this folder: Rscript icc.R [FOLDER]; the rows are read again when they are there.
# Made with R 4.2.2, psych 2.2.9 and epiR 2.0.57.
suppressMessages({library(psych); library(epiR)})
folder <- commandArgs(trailingOnly = TRUE)
folder <- if (length(folder)) folder[1] else "."
digits <- function(x) sprintf("%.15g", x)
rows_file <- file.path(folder, "icc_rows.tsv")
if (!file.exists(rows_file)) {
  set.seed(1979)
  simulated <- function(n, k, between, raters, error, mean) {
    outer(rnorm(n, mean, between), rnorm(k, 0, raters), "+") + matrix(rnorm(n * k, 0, error), n)
  }
  cases <- list(
    shrout_fleiss = matrix(c(9, 2, 5, 8, 6, 1, 3, 2, 8, 4, 6, 8, 7, 1, 2, 6, 10, 5, 6, 9, 6, 2, 4, 7),
                           ncol = 4, byrow = TRUE),
    reliable = simulated(25, 3, 2, 0.1, 0.3, 10),
    biased = simulated(25, 3, 2, 1.5, 0.5, -3),
    noisy = simulated(40, 5, 0.4, 0.2, 2, 100),
    two = simulated(12, 2, 1, 0.5, 0.5, 0),
    none = simulated(30, 4, 0, 0, 1, 5),
    large = simulated(15, 3, 2e9, 1e8, 5e8, 1e13))
  rows <- do.call(rbind, lapply(names(cases), function(name) {
    x <- cases[[name]]
    data.frame(case = name, subject = rep(seq_len(nrow(x)), ncol(x)),
               rater = rep(seq_len(ncol(x)), each = nrow(x)), value = digits(as.vector(x)))
  }))
  write.table(rows, rows_file, sep = "\t", quote = FALSE, row.names = FALSE)
}
rows <- read.delim(rows_file)
out <- NULL
for (name in unique(rows$case)) {
  mine <- rows[rows$case == name, ]
  x <- matrix(NA, max(mine$subject), max(mine$rater))
  x[cbind(mine$subject, mine$rater)] <- mine$value
  found <- suppressWarnings(ICC(x, lmer = FALSE)$results)[1:3, ]
  out <- rbind(out, data.frame(case = name, model = c("1,1", "2,1", "3,1"), value = found$ICC,
                               low95 = found[["lower bound"]], high95 = found[["upper bound"]]))
  if (name != "large") {  # epiR's moments lose their digits there
    ccc <- epi.ccc(x[, 1], x[, 2], ci = "z-transform", conf.level = 0.95)$rho.c
    out <- rbind(out, data.frame(case = name, model = "ccc", value = ccc$est, low95 = ccc$lower,
                                 high95 = ccc$upper))
  }
}
for (column in c("value", "low95", "high95")) out[[column]] <- digits(out[[column]])
file <- file.path(folder, "icc_values.tsv")
cat("# ", R.version.string, ", psych ", as.character(packageVersion("psych")), ", epiR ",
    as.character(packageVersion("epiR")), "\n", sep = "", file = file)
suppressWarnings(write.table(out, file, sep = "\t", quote = FALSE, row.names = FALSE, append = TRUE))
