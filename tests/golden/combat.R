# Makes combat_rows.tsv and combat_adjusted.tsv. Run in this folder: Rscript combat.R
# Made with R 4.2.2 and sva 3.46.0 (Bioconductor 3.16).
suppressMessages(library(sva))
suppressMessages(library(BiocParallel))
set.seed(2007)
centre <- rep(c("a", "b", "c", "d"), c(14, 9, 6, 1))
n <- length(centre)
age <- round(rnorm(n, 60, 9), 1)
stage <- sample(0:1, n, replace = TRUE)
p <- 14
scale <- exp(rnorm(p, 1, 1.5))
shift <- matrix(rnorm(4 * p, 0, 0.8) + rep(c(0.5, -1, 0, 2), p), 4)
spread <- matrix(exp(rnorm(4 * p, 0, 0.4)) * rep(c(1, 1.6, 0.7, 1), p), 4)
batch <- match(centre, unique(centre))
x <- sapply(seq_len(p), function(g) {
  signal <- 0.03 * (age - 60) * rnorm(1) + 0.5 * stage * rnorm(1)
  signif((5 + signal + shift[batch, g] + spread[batch, g] * rnorm(n)) * scale[g], 8)
})
x[centre == "b", 5] <- 3          # constant within a centre
x[, 9] <- 1                       # constant
colnames(x) <- sprintf("f%02d", seq_len(p))
write.table(data.frame(centre, age, stage, x), "combat_rows.tsv", sep = "\t", quote = FALSE,
            row.names = FALSE)

three <- centre != "d"            # d has one row
runs <- list(
  list("plain", three, FALSE, FALSE, NULL),
  list("covariates", three, TRUE, FALSE, NULL),
  list("reference", three, FALSE, FALSE, "b"),
  list("reference+covariates", three, TRUE, FALSE, "a"),
  list("mean", three, FALSE, TRUE, NULL),
  list("mean+covariates+reference", three, TRUE, TRUE, "c"),
  list("single", rep(TRUE, n), TRUE, FALSE, NULL))
out <- NULL
for (run in runs) {
  rows <- run[[2]]
  mod <- if (run[[3]]) model.matrix(~ age + stage)[rows, ] else NULL
  capture.output(fitted <- suppressMessages(ComBat(
    t(x[rows, ]), centre[rows], mod = mod, par.prior = TRUE, mean.only = run[[4]],
    ref.batch = run[[5]], BPPARAM = SerialParam())))
  text <- apply(t(fitted), 2, function(v) sprintf("%.12g", v))
  out <- rbind(out, data.frame(run = run[[1]], row = which(rows) - 1, text))
}
write.table(out, "combat_adjusted.tsv", sep = "\t", quote = FALSE, row.names = FALSE)
